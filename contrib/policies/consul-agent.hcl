# What the agents of one node may do in Consul, and no more. NODE is the node's name, in the store and
# in Consul (a session belongs to a Consul node: where the names differ, correct the `session` rule).
#
#	sed s/NODE/web1/g contrib/policies/consul-agent.hcl |
#		consul acl policy create -name platypus-web1 -rules -
#	consul acl token create -description 'Platypus on web1' -policy-name platypus-web1
#
# The token's SecretID belongs into CONSUL_HTTP_TOKEN_FILE or /etc/default/platypus, mode 0600.
# With --prefix, put it before every key.

# Intent: the node's own, and that of clusters.
key_prefix "nodes/NODE/" {
	policy = "read"
}
key_prefix "clusters/" {
	policy = "read"
}
key_prefix "gates/" {
	policy = "read"
}

# Facts of all, status of one's own.
key_prefix "reality/" {
	policy = "read"
}
key_prefix "reality/status/preparer/NODE/" {
	policy = "write"
}
key_prefix "reality/status/setlive/NODE/" {
	policy = "write"
}
key_prefix "reality/status/health-reporter/NODE/" {
	policy = "write"
}
key_prefix "reality/status/container-runner/NODE/" {
	policy = "write"
}
# The node stands last in these keys, so that no prefix holds it to its own. Where that matters, one rule for each:
#	key "reality/health/APP/CLUSTER/NODE" { policy = "write" }
key_prefix "reality/health/" {
	policy = "write"
}
key_prefix "reality/status/port-firewall/NODE/" {
	policy = "write"
}

# Shutdown slots.
key_prefix "locks/" {
	policy = "write"
}

# The lease that status is bound to.
session "NODE" {
	policy = "write"
}
# Which Consul node this is.
agent_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}
