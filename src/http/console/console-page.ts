/**
 * The page that a browser is shown, as Vite has built it: `index.html`, files beside it, and those in
 * `assets/`, where every name has a hash of what is in it.
 *
 * Read whole when it is first asked for, and held: what a request names is looked up among what was
 * found, so no path of a request ever reaches the file system. Not a plug-in, since the one there is
 * (@fastify/static) costs every start 80 ms and every idle server 14 MiB, measured, for what are five
 * small files that never change.
 *
 * @module
 */

import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { MIB } from "../../lib/byte-units.ts";
import { errnoOf } from "../../lib/errno.ts";
import { sha256 } from "../../lib/sha256.ts";

/** Where the build puts it: the same place seen from the sources and from what is compiled. */
export const PAGE_DIRECTORY = new URL("../../../build/console/", import.meta.url);

const INDEX = "index.html";

/** Far from what the page has: beyond it, something else lies there. */
const MAX_FILES = 100;
const MAX_BYTES = 4 * MIB;

/** A file with any other ending is not served: nothing of the page needs it. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
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
  /** By where they are below `/console/`, e.g. `mark.svg` and `assets/index-1a2b3c4d.js`. */
  readonly files: ReadonlyMap<string, PageFile>;
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

  /** @param path Below `/console/`; anything at all. Null for what is not there. */
  async file(path: string): Promise<PageFile | null> {
    return (await this.#read())?.files.get(path) ?? null;
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
    const index = await readPageFile(directory, INDEX, "text/html; charset=utf-8");
    const files = new Map<string, PageFile>();
    let bytes = index.bytes.length;
    for (const { path, mediaType } of await listFiles(directory)) {
      const file = await readPageFile(directory, path, mediaType);
      bytes += file.bytes.length;
      if (bytes > MAX_BYTES) throw new Error(`The console has more than ${MAX_BYTES} bytes`);
      files.set(path, file);
    }
    return { index, files };
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return null;
    throw thrown;
  }
}

interface Found {
  readonly path: string;
  readonly mediaType: string;
}

async function listFiles(directory: URL): Promise<readonly Found[]> {
  const beside = await readdir(directory);
  const assets = beside.includes("assets") ? await readdir(new URL("assets/", directory)) : [];
  const found = [...beside, ...assets.map((name) => `assets/${name}`)].flatMap((path) => {
    const mediaType = mediaTypeOf(path);
    return mediaType === undefined ? [] : [{ path, mediaType }];
  });
  if (found.length > MAX_FILES) throw new Error(`The console has more than ${MAX_FILES} files`);
  return found;
}

async function readPageFile(directory: URL, path: string, mediaType: string): Promise<PageFile> {
  const bytes = await readFile(
    new URL(path.split("/").map(encodeURIComponent).join("/"), directory),
  );
  const packed = await promisify(gzip)(bytes, { level: 9 });
  const hash = sha256(bytes, "base64url").slice(0, 22);
  return {
    mediaType,
    etag: `W/"${hash}"`,
    bytes,
    gzipped: packed.length < bytes.length ? packed : null,
  };
}

function mediaTypeOf(path: string): string | undefined {
  const ending = path.slice(path.lastIndexOf(".") + 1);
  return Object.hasOwn(MEDIA_TYPES, ending) ? MEDIA_TYPES[ending] : undefined;
}
