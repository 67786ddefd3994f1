# What pp-builder may do in Consul, and no more. NODE is the node's name, in the store and in Consul
# (where the names differ, correct the `session` rule).
#
#	sed s/NODE/build1/g contrib/policies/consul-builder.hcl |
#		consul acl policy create -name platypus-builder -rules -
#
# With --prefix, put it before every key.
key_prefix "apps/" {
	policy = "read"
}
key_prefix "reality/refs/" {
	policy = "read"
}
key_prefix "reality/builds/" {
	policy = "write"
}
key_prefix "reality/status/builder/NODE/" {
	policy = "write"
}
key_prefix "locks/build/" {
	policy = "write"
}
# The leases that status and locks are bound to.
session "NODE" {
	policy = "write"
}
agent_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}
