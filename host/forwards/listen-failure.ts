import { OperationError } from '../../protocol/errors.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import { describeBindFailure } from '../listen/bind-failure.js';
import { wildcardOf } from '../listen/bind-rules.js';
import type { HeldPort } from '../listen/port-guard.js';
import type { WantedAddress } from '../listen/port-owner.js';

/** It cannot be listened on. `taken` says where it is worth asking the OS who is in the way. */
export class ListenFailure extends OperationError {
  readonly code: string | undefined;
  readonly taken: { address: WantedAddress; cause: unknown } | undefined;

  constructor(message: string, code: string | undefined, taken?: ListenFailure['taken']) {
    super(message);
    this.code = code;
    this.taken = taken;
  }
}

/** Another program has the port, though the OS would share it. */
export function takenBy({ address, owner }: HeldPort): ListenFailure {
  const cause = Object.assign(new Error('EADDRINUSE'), { code: 'EADDRINUSE' });
  return new ListenFailure(describeBindFailure(address, cause, owner).message, cause.code);
}

/** UDP on a port below `firstFree`: the system lets a user listen on every address only, and does not tell whom datagrams were for. */
export function needsEveryAddress(ip: string, port: number, firstFree: number): ListenFailure {
  const everywhere = formatHostPort(wildcardOf(ip), port);
  return new ListenFailure(
    `cannot listen on udp ${formatHostPort(ip, port)}: below port ${firstFree} this system lets a user listen on every address only, and datagrams for others would come in, too; choose a higher port, or ${everywhere}`,
    'EACCES',
  );
}
