# What an operator's ppctl may do in Consul: write every kind of intent, approve, and break locks. Not facts and status:
# those are the agents' word.
#
#	consul acl policy create -name platypus-operator -rules - <contrib/policies/consul-operator.hcl
key_prefix "" {
	policy = "write"
}
key_prefix "reality/" {
	policy = "read"
}
session_prefix "" {
	policy = "write"
}
