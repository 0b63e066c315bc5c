import type { DashboardReport, DashboardSwitch } from '../control/dashboard-switch.js';
import { type DashboardAddress, DEFAULT_ADDRESS } from './address.js';
import type { Dashboard, DashboardOptions } from './dashboard.js';

/** The dashboard, which costs nothing before it is switched on. */
export class LateDashboard implements DashboardSwitch {
  readonly #options: DashboardOptions;
  #opening: Promise<Dashboard> | undefined;
  #dashboard: Dashboard | undefined;

  constructor(options: DashboardOptions) {
    this.#options = options;
  }

  get report(): DashboardReport | undefined {
    return this.#dashboard?.report;
  }

  /**
   * Switches it on, unless it is. Who asks while it is being opened waits for that.
   * @throws OperationError when it cannot listen, or the token cannot be kept
   */
  async open(address: DashboardAddress = DEFAULT_ADDRESS): Promise<DashboardReport> {
    this.#opening ??= this.#open(address);
    try {
      this.#dashboard = await this.#opening;
      return this.#dashboard.report;
    } catch (thrown) {
      this.#opening = undefined;
      throw thrown;
    }
  }

  /** Stops answering, whoever is connected. */
  async close(): Promise<void> {
    const dashboard = await this.#opening?.catch(() => undefined);
    await dashboard?.close();
  }

  async #open(address: DashboardAddress): Promise<Dashboard> {
    const { openDashboard } = await import('./dashboard.js');
    return openDashboard(address, this.#options);
  }
}
