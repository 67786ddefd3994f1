# What pp-configmap-injector may do in Consul, and no more. NODE is the node's name, in the store and in Consul
# (where the names differ, correct the `session` rule).
#
#	sed s/NODE/ops1/g contrib/policies/consul-injector.hcl |
#		consul acl policy create -name platypus-injector -rules -
#
# With --prefix, put it before every key; for one world only (--world prod), behind injections/. Terraform's states
# in the same Consul need key_prefix rules of their own, read.
key_prefix "injections/" {
	policy = "read"
}
key_prefix "reality/status/configmap-injector/NODE/" {
	policy = "write"
}
# The lease that status is bound to.
session "NODE" {
	policy = "write"
}
agent_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}
