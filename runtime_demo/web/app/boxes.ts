/** Boxes: left, top, right and bottom. */
import type { Box } from "./protocol.ts";

/** The smallest box that holds a box and a place. */
export function around([left, top, right, bottom]: Box, [x, y]: readonly [number, number]): Box {
  return [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
}
