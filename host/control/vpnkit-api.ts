import type { FastifyInstance, FastifyRequest } from 'fastify';
import { checkResource, LIST_RESOURCE, type VpnkitPort } from '../../protocol/services/control.js';

/** Who does what the API of Docker's forwarder asks for; bodies are as they were received. */
export interface VpnkitTarget {
  /** @returns what is answered; nothing is an empty body */
  expose(body: unknown): Promise<VpnkitPort | undefined>;
  unexpose(body: unknown): Promise<void>;
  list(): VpnkitPort[];
}

/**
 * The API of Docker's forwarder: its clients work with it unchanged.
 * @param targetOf gives who is asked by a request
 */
export function serveVpnkit(app: FastifyInstance, targetOf: (request: FastifyRequest) => VpnkitTarget): void {
  for (const resource of ['port', 'pipe'] as const) {
    app.route({
      method: ['PUT', 'POST'],
      url: `/forwards/expose/${resource}`,
      handler: async (request, reply) => {
        checkResource(request.body, resource);
        return reply.send(await targetOf(request).expose(request.body));
      },
    });
    app.route({
      method: ['DELETE', 'POST'],
      url: `/forwards/unexpose/${resource}`,
      handler: async (request, reply) => {
        checkResource(request.body, resource);
        await targetOf(request).unexpose(request.body);
        return reply.send();
      },
    });
  }
  app.get(LIST_RESOURCE, async (request) => targetOf(request).list());
}
