/**
 * Since macOS 15 a program needs a permission to connect to the local network, a VM's addresses included. Without it
 * connecting fails as if there were no route, while ping works. It belongs to the program's path: a Node.js that was
 * upgraded may have to be allowed anew.
 * @param address of the channel
 * @param error why there is no channel
 * @returns what to do, where that may be the reason
 */
export function localNetworkAdvice(
  platform: NodeJS.Platform,
  address: string,
  error = '',
): string | undefined {
  if (platform !== 'darwin' || !address.startsWith('tcp:') || !/\bEHOSTUNREACH\b/.test(error))
    return undefined;
  return 'if the VM answers to ping, macOS keeps this program from the local network: allow it (as node) in System Settings, Privacy & Security, Local Network, and start it again; a channel over vsock or a unix socket needs no such permission';
}
