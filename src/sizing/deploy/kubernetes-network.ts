/**
 * Who may reach the replicas, and what they may reach: tools and a model that was talked into
 * something act from within them. Pure.
 *
 * @module
 */

import { type Artefact, said, type Tree } from "./artefact.ts";
import { labelsOf } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import type { ReplicaRoom } from "./room.ts";
import { headOf } from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
/** Credentials of the node are at 169.254.169.254. */
const LINK_LOCAL = "169.254.0.0/16";
const PRIVATE_IPV6 = ["fc00::/7", "fe80::/10"];

export function networkArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const tree: Tree = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: premises.name, labels: labelsOf(premises) },
    spec: {
      podSelector: { matchLabels: labelsOf(premises) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [ingressOf(premises)],
      egress: [names(), provider(premises), ...replicas(premises), ...others(premises)],
    },
  };
  return writeYaml(
    "kubernetes/network-policy.yaml",
    [
      ...headOf(premises, room, "who reaches it, and what it reaches"),
      "Needs a network plugin that heeds policies. Names of namespaces are the usual ones: change them.",
    ],
    [tree],
  );
}

function ingressOf({ port }: Premises): Tree {
  const namespace = (name: string) => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
  });
  return {
    from: [
      said({ podSelector: {} }, "pods of the same namespace"),
      said(namespace("ingress-nginx"), "where the ingress controller is"),
      said(namespace("monitoring"), "where Prometheus is"),
    ],
    ports: [{ port: said(port, "listen.port") }],
  };
}

function names(): Tree {
  const why = "names of hosts (DNS)";
  return {
    to: [
      {
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
      },
    ],
    ports: [
      { port: said(53, why), protocol: "UDP" },
      { port: said(53, why), protocol: "TCP" },
    ],
  };
}

function provider({ usesCloud }: Premises): Tree {
  const [except, why] = usesCloud
    ? [
        PRIVATE,
        "anywhere but in the cluster's own networks; the cloud gives credentials at 169.254.…",
      ]
    : [
        [...PRIVATE, LINK_LOCAL],
        "anywhere but in the cluster's own networks, and where the node's credentials are",
      ];
  return {
    to: [
      { ipBlock: { cidr: "0.0.0.0/0", except: said(except, why) } },
      { ipBlock: { cidr: "::/0", except: said(PRIVATE_IPV6, "likewise") } },
    ],
    ports: [
      { port: said(443, "the model provider, and MCP servers over HTTPS") },
      ...(usesCloud ? [{ port: said(80, "the credentials of the cloud") }] : []),
    ],
  };
}

/** Rules for what replicas ask each other, of turns that the other runs: sessions.replicaAddress. */
function replicas(premises: Premises): readonly Tree[] {
  if (!premises.hasStore) return [];
  const why = "listen.port of the other replicas, which run what clients come back to";
  return [
    {
      to: [{ podSelector: { matchLabels: labelsOf(premises) } }],
      ports: [{ port: said(premises.port, why) }],
    },
  ];
}

/** To any address: where a store is, in or out of the cluster, is not known here. */
function others({ egressPorts }: Premises): readonly Tree[] {
  if (egressPorts.length === 0) return [];
  return [{ ports: egressPorts.map(({ port, what }) => ({ port: said(port, what) })) }];
}
