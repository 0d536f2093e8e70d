// The sha256 of bytes, in hexadecimal. `crypto.subtle` is missing where a page came by plain HTTP
// from another machine.

export async function sha256(bytes, packages) {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
    : (await import(`${packages}/@noble/hashes/sha2.js`)).sha256(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
