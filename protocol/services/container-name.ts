/** How many digits of a container's id people see. */
export const SHORT_ID_LENGTH = 12;

/**
 * `container web (1a2b3c4d5e6f)`: how people are told which one it is. The guest puts it into the annotation of what
 * it publishes; an older one tells the host by nothing else whose forward it is.
 */
export function nameContainer({ name, id }: { readonly name: string; readonly id: string }): string {
  return `container ${name} (${id.slice(0, SHORT_ID_LENGTH)})`;
}
