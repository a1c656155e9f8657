export function readmeSnippets(markdown: string): { line: number; code: string }[];
