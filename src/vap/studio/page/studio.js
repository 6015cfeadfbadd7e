import { post } from "./api.js";
import { fill, setUpForm } from "./form.js";
import { add, setUpResults } from "./results.js";

await Promise.all([setUpForm(async (request) => add(await post("/v1/videos", request))), setUpResults(fill)]);
