//go:build !race

package fathom_test

const raceEnabled = false
