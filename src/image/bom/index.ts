export { catalogue } from './catalogue.ts';
export { cyclonedxDocument } from './cyclonedx.ts';
export { LicenseList } from './licenses.ts';
export { spdxDocument } from './spdx.ts';
