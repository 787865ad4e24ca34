import { expect, test } from "bun:test";
import { shownUrl, urlSecrets } from "../../src/assistant/shown-url.ts";

test.each([
  ["http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"],
  ["https://me:secret@host/@v1?key=secret#secret", "https://host/@v1"],
  ["https://secret@host/v1", "https://host/v1"],
  ["me:secret@host/v1", "host/v1"],
  ["http://me:sec/ret@secret@host/v1?secret", "http://host/v1"],
  ["no url", "no url"],
])("shownUrl() shows %j without secrets", (text, shown) => {
  expect(shownUrl(text)).toBe(shown);
});

test("urlSecrets() gives what is hidden as it stands there and as it is meant", () => {
  expect(urlSecrets("http://me:a%20b@host")).toEqual(["a%20b", "a b"]);
  expect(urlSecrets("http://me:100%@host")).toEqual(["100%"]);
  expect(urlSecrets("http://token@host")).toEqual(["token"]);
  expect(urlSecrets("http://host")).toEqual([]);
});
