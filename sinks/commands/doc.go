// Package commands makes commands of what bots write. Those who read it, from standard input or a
// broker, keep to themselves how a message is framed, acknowledged and answered.
package commands
