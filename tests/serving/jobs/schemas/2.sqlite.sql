CREATE TABLE jobs (
	number INTEGER NOT NULL,
	id VARCHAR(80) NOT NULL,
	owner VARCHAR(80) NOT NULL,
	state VARCHAR(16) NOT NULL,
	request TEXT NOT NULL,
	progress INTEGER NOT NULL,
	stage VARCHAR(40) NOT NULL,
	created_at DOUBLE NOT NULL,
	started_at DOUBLE,
	completed_at DOUBLE,
	expires_at DOUBLE,
	error_code VARCHAR(80),
	error_message TEXT,
	video VARCHAR(200),
	thumbnail VARCHAR(200),
	preview VARCHAR(200),
	seed BIGINT NOT NULL,
	model VARCHAR(200) NOT NULL,
	seconds DOUBLE,
	size VARCHAR(16),
	webhook_url TEXT,
	priority INTEGER NOT NULL,
	idempotency_key VARCHAR(255),
	remixed_from VARCHAR(80),
	"group" VARCHAR(64),
	reference_use TEXT,
	attempts INTEGER NOT NULL,
	worker VARCHAR(80),
	lease_until DOUBLE,
	PRIMARY KEY (number),
	UNIQUE (owner, idempotency_key),
	UNIQUE (id)
);
CREATE INDEX jobs_of_group ON jobs (owner, "group", number);
CREATE INDEX jobs_of_owner ON jobs (owner, number);
CREATE INDEX jobs_queue ON jobs (state, priority, number);
CREATE INDEX jobs_with_webhook ON jobs (webhook_url);
CREATE TABLE keys (
	id VARCHAR(40) NOT NULL,
	name VARCHAR(200) NOT NULL,
	hash VARCHAR(64) NOT NULL,
	created_at DOUBLE NOT NULL,
	revoked_at DOUBLE,
	priority INTEGER NOT NULL,
	requests_per_minute INTEGER,
	max_queued INTEGER,
	PRIMARY KEY (id)
);
CREATE TABLE prompts (
	number INTEGER NOT NULL,
	id VARCHAR(80) NOT NULL,
	owner VARCHAR(80) NOT NULL,
	upload VARCHAR(80),
	reference_prompts TEXT NOT NULL,
	created_at DOUBLE NOT NULL,
	PRIMARY KEY (number),
	UNIQUE (id)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL,
	PRIMARY KEY (version)
);
CREATE TABLE secrets (
	name VARCHAR(40) NOT NULL,
	value VARCHAR(100) NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE uploads (
	number INTEGER NOT NULL,
	id VARCHAR(80) NOT NULL,
	owner VARCHAR(80) NOT NULL,
	name VARCHAR(255) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	bytes BIGINT NOT NULL,
	sha256 VARCHAR(64) NOT NULL,
	created_at DOUBLE NOT NULL,
	width INTEGER,
	height INTEGER,
	frames INTEGER,
	fps DOUBLE,
	seconds DOUBLE,
	PRIMARY KEY (number),
	UNIQUE (id)
);
CREATE INDEX uploads_of_owner ON uploads (owner, sha256);
CREATE TABLE webhook_deliveries (
	job VARCHAR(80) NOT NULL,
	attempts INTEGER NOT NULL,
	next_at DOUBLE,
	delivered_at DOUBLE,
	problem TEXT,
	PRIMARY KEY (job)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at);
CREATE TABLE workers (
	id VARCHAR(80) NOT NULL,
	machine VARCHAR(255) NOT NULL,
	started_at DOUBLE NOT NULL,
	seen_at DOUBLE NOT NULL,
	PRIMARY KEY (id)
);
