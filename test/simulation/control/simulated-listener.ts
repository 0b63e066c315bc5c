import { bindPort } from '../../../host/listen/bind-port.js';
import type { ClientListener, OpenListener } from '../../../host/listen/listener.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import { formatHostPort } from '../../../protocol/wire/destination.js';
import type { Process } from '../world/world.js';
import type { Machine, MachineSocket } from './machine.js';

/** What listens for the forwards of a process: addresses of a machine, to which nobody comes. */
export class SimulatedListener implements ClientListener {
  rule: ForwardRule;
  readonly filtered = false;
  readonly #machine: Machine;
  readonly #process: Process;
  readonly #sockets: MachineSocket[] = [];

  private constructor(machine: Machine, process: Process, rule: ForwardRule) {
    this.#machine = machine;
    this.#process = process;
    this.rule = rule;
  }

  /** @param isReliable says of a rule that nothing is ever in its way */
  static on(machine: Machine, process: Process, isReliable: (rule: ForwardRule) => boolean): OpenListener {
    return async (rule, _logger, onMissing) => {
      const listener = new SimulatedListener(machine, process, rule);
      const bind = (ip: string, port: number): Promise<number> => listener.#bind(ip, port, isReliable(rule));
      if (rule.proto === 'unix') await bind(rule.hostPath, 0);
      else listener.rule = await bindPort(rule, { bind, close: () => listener.close() }, onMissing);
      return listener;
    };
  }

  get addresses(): string[] {
    return this.#sockets.map(({ ip, port }) => (ip.startsWith('/') ? ip : formatHostPort(ip, port)));
  }

  start(): void {}

  setAccepting(): void {}

  async close(): Promise<void> {
    await Promise.all(this.#sockets.splice(0).map((socket) => this.#machine.close(this.#process, socket)));
  }

  async #bind(ip: string, port: number, reliably: boolean): Promise<number> {
    const socket = await this.#machine.bind(this.#process, ip, port, reliably);
    this.#sockets.push(socket);
    return socket.port;
  }
}
