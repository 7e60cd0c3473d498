import { stopCommand } from '../stop-command.ts';

export default stopCommand('restart', 'containers');
