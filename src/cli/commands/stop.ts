import { stopCommand } from '../stop-command.ts';

export default stopCommand('stop', 'running-containers');
