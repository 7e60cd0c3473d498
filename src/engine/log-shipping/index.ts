export { chosenAttributes, type LogSource } from './description.ts';
export {
  checkShippingOptions,
  isShippingDriver,
  type ShippingDriver,
  shippingDrivers,
  takesOption,
} from './options.ts';

/** What sends: loaded by those who do, so that a start without a collector does not. */
export const loadShipping = () => import('./shipping.ts');
