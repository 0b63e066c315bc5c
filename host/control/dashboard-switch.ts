import type { FastifyInstance } from 'fastify';
import { OperationError } from '../../protocol/errors.js';

/** `GET` and `POST /v1/dashboard`: where the dashboard is. */
export interface DashboardReport {
  /** With the token in its fragment, which a browser sends to nobody. Whoever has it can read what the page shows. */
  address: string;
  /** The address without that: for logs. */
  origin: string;
}

/** The dashboard, as far as the control API knows it. */
export interface DashboardSwitch {
  /** Undefined while it is off. */
  readonly report: DashboardReport | undefined;
  /**
   * Switches it on, unless it is.
   * @throws OperationError when it cannot listen
   */
  open(): Promise<DashboardReport>;
}

/** Says where the dashboard is (GET), and switches it on if need be (POST). */
export function serveDashboardSwitch(app: FastifyInstance, dashboard: DashboardSwitch): void {
  app.get('/v1/dashboard', async () => {
    if (dashboard.report) return dashboard.report;
    throw new OperationError(
      'this host was started without --dashboard: switch it on with POST /v1/dashboard, as portferry dashboard does',
    );
  });
  app.post('/v1/dashboard', () => dashboard.open());
}
