# Each target installs what it needs and does not find (scripts/tools), then runs one script.
.POSIX:
.DEFAULT_GOAL := help
.PHONY: help demo test proofs run fmt lint bench dist

help:           ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

demo:           ## the example shop through a kill -9, from source, with every claim checked
	@scripts/demo $(ARGS)

test:           ## everything a change must pass: format, lints, docs, tests, tutorial, a small demo
	@scripts/test

proofs:         ## the guarantees under kill -9, power cuts, failing and full disks, in the sizes of a night
	@scripts/proofs $(ARGS)

run:            ## evoke serve from source; make run ARGS="--data /tmp/x"
	@scripts/run $(ARGS)

fmt:            ## format the sources
	@scripts/tools exec cargo fmt --all

lint:           ## clippy, shell and Python syntax
	@scripts/lint

dist:           ## the executable as it is handed out: compiled twice, half an hour, for a fifth less processor time a call
	@scripts/dist

bench:          ## calls per second, publishes per second, cold starts, memory: a table
	@scripts/bench $(ARGS)
