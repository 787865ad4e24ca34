/** One page of a listing, whatever is listed. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly totalCount: number;
  readonly nextPageToken: string;
  readonly cursor: string;
}

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/**
 * The pages of a listing as one, up to `limit` items (undefined: all). The cursor is that of the first page, so that
 * whoever follows the log from it misses nothing that happened while the others were read.
 */
export async function readPages<Item>(
  limit: number | undefined,
  read: (request: PageRequest) => Promise<Page<Item>>,
): Promise<Page<Item>> {
  const first = await read({ pageSize: pageSize(limit), pageToken: "" });
  const items = [...first.items];
  let nextPageToken = first.nextPageToken;
  while (nextPageToken !== "" && (limit === undefined || items.length < limit)) {
    const rest = limit === undefined ? undefined : limit - items.length;
    const page = await read({ pageSize: pageSize(rest), pageToken: nextPageToken });
    items.push(...page.items);
    nextPageToken = page.nextPageToken;
  }
  return { ...first, items, nextPageToken };
}

function pageSize(wanted: number | undefined): number {
  return Math.min(wanted ?? MAX_PAGE_SIZE, MAX_PAGE_SIZE);
}

/** What the server gives at most. */
export const MAX_PAGE_SIZE = 1000;
