/**
 * A URL as it may be shown: without the name and the password in it, and without what stands behind `?` or `#`, where keys
 * may be. Of what is no URL, all before the last `@` is left out.
 */
export function shownUrl(text: string): string {
  const url = httpUrl(text);
  if (url !== undefined) return `${url.origin}${url.pathname}`;
  return text.replace(/[?#].*$/s, "").replace(/^([a-z][a-z\d+.-]*:\/\/)?.*@/is, "$1");
}

/** The URL that a text is, if it is one of HTTP. */
export function httpUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  return url?.protocol === "http:" || url?.protocol === "https:" ? url : undefined;
}

/** What a URL has in it that is to be shown nowhere, as it stands there and as it is meant. */
export function urlSecrets(text: string): readonly string[] {
  const { username = "", password = "" } = httpUrl(text) ?? {};
  const secret = password || username; // a token may stand alone
  return [...new Set([secret, meant(secret)])].filter((one) => one !== "");
}

function meant(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded; // no percent-encoding: it is meant as it stands
  }
}
