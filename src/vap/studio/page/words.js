// Search by words: a text must have all of them.

export const hasWords = (text, query) => query.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
