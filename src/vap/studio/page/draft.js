// The form of this tab, which a reload keeps.

const NAME = "vap-form";

export const saveDraft = (draft) => sessionStorage.setItem(NAME, JSON.stringify(draft));

export const savedDraft = () => JSON.parse(sessionStorage.getItem(NAME));
