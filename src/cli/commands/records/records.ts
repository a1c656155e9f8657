/** `pullwarden records`: looks after the records of a store, without an engine. */
import type { CommandGroup } from '../../command.ts';
import { exportTool } from './export.ts';
import { importTool } from './import.ts';
import { listTool } from './list.ts';
import { pruneTool } from './prune.ts';
import { showTool } from './show.ts';
import { verifyTool } from './verify.ts';

export const recordsCommand: CommandGroup = {
  summary: 'list, show, verify, prune, import or export the records of a store',
  noun: 'tool',
  help: {
    usage: 'records <tool> [options]',
    about: [
      'Each tool takes --store KIND:PATH and --json. An engine that has the store open must be closed ' +
        'first.',
    ],
    options: [['--help', 'show this help, or that of a tool']],
    examples: ['pullwarden records list --store journal:./records'],
  },
  members: {
    list: listTool,
    show: showTool,
    verify: verifyTool,
    prune: pruneTool,
    import: importTool,
    export: exportTool,
  },
};
