import type { ServiceDefinition } from './definition.js';

/** What is known of a service at a moment. */
export interface ServiceState {
  /** The file that defines it. */
  file: string;
  /** Whether that file exists. */
  installed: boolean;
  running: boolean;
  pid?: number;
  /** ISO 8601. */
  since?: string;
  /** How it ended last, where the manager tells: `exit code 1`. */
  lastExit?: string;
  /** What is wrong with the installation, and what to do. */
  problem?: string;
}

/** Who runs a user's services on a platform. Each step may be repeated: it leads to the same state. */
export interface ServiceManager {
  /** The service's file as it would be written. */
  render(definition: ServiceDefinition): string;
  /**
   * Writes the service's file and starts it, again if it runs already. Resolves when it runs.
   * @throws OperationError that says which step failed, why, and what to do
   */
  install(definition: ServiceDefinition): Promise<void>;
  /** Stops it and removes its file. @returns false when there was none */
  uninstall(name: string): Promise<boolean>;
  /** @throws OperationError when it is not installed, or does not start */
  start(name: string): Promise<void>;
  /** Resolves when it has ended. @throws OperationError when it is not installed */
  stop(name: string): Promise<void>;
  state(name: string): Promise<ServiceState>;
}
