# What a developer's ppctl may do in Consul for one application: say which versions run, and look at
# everything. Not deploy_config: that document can make root run things. A rule per cluster, since Consul's
# rules know exact keys and prefixes only; APP and CLUSTER are to be replaced.
#
#	sed 's/APP/hello/g; s/CLUSTER/live/g' contrib/policies/consul-developer.hcl |
#		consul acl policy create -name platypus-hello-live -rules -
key_prefix "" {
	policy = "read"
}
key "clusters/APP/CLUSTER/config" {
	policy = "write"
}
