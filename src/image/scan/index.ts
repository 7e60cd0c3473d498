export { VulnerabilityDatabase } from './database.ts';
export { findVulnerabilities } from './match.ts';
