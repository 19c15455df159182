/**
 * The page that a browser is shown, as Vite has built it: `index.html`, and what it loads from
 * `assets/`, where every name has a hash of what is in it.
 *
 * Read whole when it is first asked for, and held: what a request names is looked up among what was
 * found, so no path of a request ever reaches the file system. Not a plug-in, since the one there is
 * (@fastify/static) costs every start 80 ms and every idle server 14 MiB, measured, for what are five
 * small files that never change.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { errnoOf } from "../../lib/errno.ts";

/** Where the build puts it: the same place seen from the sources and from what is compiled. */
export const PAGE_DIRECTORY = new URL("../../../build/console/", import.meta.url);

/** Far from what the page has: beyond it, something else lies there. */
const MAX_FILES = 100;
const MAX_BYTES = 4 * 1024 * 1024;

/** A file with any other ending is not served: nothing of the page needs it. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  ico: "image/x-icon",
  js: "text/javascript; charset=utf-8",
  png: "image/png",
  svg: "image/svg+xml",
  webmanifest: "application/manifest+json",
  woff2: "font/woff2",
};

export interface PageFile {
  readonly mediaType: string;
  /** Weak, since it is the same for both forms. */
  readonly etag: string;
  readonly bytes: Buffer;
  /** Null where that is no shorter. */
  readonly gzipped: Buffer | null;
}

interface Page {
  readonly index: PageFile;
  /** By name. */
  readonly assets: ReadonlyMap<string, PageFile>;
}

export class ConsolePage {
  readonly #directory: URL;
  #reading: Promise<Page | null> | null = null;

  constructor(directory: URL) {
    this.#directory = directory;
  }

  /** Null where the page was not built: looked for anew each time, until it is there. */
  async index(): Promise<PageFile | null> {
    return (await this.#read())?.index ?? null;
  }

  async asset(name: string): Promise<PageFile | null> {
    return (await this.#read())?.assets.get(name) ?? null;
  }

  async #read(): Promise<Page | null> {
    const reading = (this.#reading ??= readPage(this.#directory));
    const forget = (): void => {
      if (this.#reading === reading) this.#reading = null;
    };
    const page = await reading.catch((thrown: unknown) => {
      forget();
      throw thrown;
    });
    if (page === null) forget();
    return page;
  }
}

async function readPage(directory: URL): Promise<Page | null> {
  try {
    const assetsDirectory = new URL("assets/", directory);
    const names = (await readdir(assetsDirectory)).filter((name) => typeOf(name) !== undefined);
    if (names.length >= MAX_FILES) throw new Error(`The console has more than ${MAX_FILES} files`);
    const index = await readPageFile(directory, "index.html");
    const assets = new Map<string, PageFile>();
    let bytes = index.bytes.length;
    for (const name of names) {
      const file = await readPageFile(assetsDirectory, name);
      bytes += file.bytes.length;
      if (bytes > MAX_BYTES) throw new Error(`The console has more than ${MAX_BYTES} bytes`);
      assets.set(name, file);
    }
    return { index, assets };
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return null;
    throw thrown;
  }
}

async function readPageFile(directory: URL, name: string): Promise<PageFile> {
  const bytes = await readFile(new URL(encodeURIComponent(name), directory));
  const packed = await promisify(gzip)(bytes, { level: 9 });
  const hash = createHash("sha256").update(bytes).digest("base64url").slice(0, 22);
  return {
    mediaType: typeOf(name) ?? "",
    etag: `W/"${hash}"`,
    bytes,
    gzipped: packed.length < bytes.length ? packed : null,
  };
}

function typeOf(name: string): string | undefined {
  const ending = name.slice(name.lastIndexOf(".") + 1);
  return Object.hasOwn(MEDIA_TYPES, ending) ? MEDIA_TYPES[ending] : undefined;
}
