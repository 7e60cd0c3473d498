/** What is more is refused: a Dockerfile is written by people, or by programs for people. */
export const MAX_FILE_BYTES = 16 << 20;
export const MAX_LINES = 200_000;
/** As BuildKit's; with the line's end. */
export const MAX_LINE_BYTES = 65_535;
export const MAX_INSTRUCTIONS = 20_000;
