# What pp-terraform-applier may do in Consul, and no more. NODE is the node's name, in the store and in Consul
# (where the names differ, correct the `session` rule).
#
#	sed s/NODE/ops1/g contrib/policies/consul-terraform.hcl |
#		consul acl policy create -name platypus-terraform -rules -
#
# With --prefix, put it before every key; for one world only (--world prod), behind stacks/ and the like.
key_prefix "stacks/" {
	policy = "read"
}
# Not write: who approves is a person.
key_prefix "approvals/stack/" {
	policy = "read"
}
key_prefix "reality/status/terraform-applier/NODE/" {
	policy = "write"
}
key_prefix "locks/stack/" {
	policy = "write"
}
key_prefix "locks/world/" {
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
