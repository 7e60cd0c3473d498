import { copyCommand } from '../working/copy-command.ts';

export default copyCommand('copy');
