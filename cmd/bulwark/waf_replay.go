package main

import "github.com/spf13/cobra"

func wafReplayCommand() *cobra.Command { return &cobra.Command{Use: "replay"} }
