// main.go - the benchmark's work with franz-go.
//
// worker BROKERS GROUP IN OUT LINGER_MS FORM
// FORM says what events are decoded into: see orders.go.
// Each poll is a batch that waits for its outputs' acknowledgements; batches are marked for commit in their order.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch is done when nothing of it is pending; then the last record of each partition is marked.
type batch struct {
	pending atomic.Int64
	last    []*kgo.Record
}

func die(what string, err error) {
	fmt.Fprintf(os.Stderr, "worker: %s: %v\n", what, err)
	os.Exit(1)
}

func handle(ctx context.Context, client *kgo.Client, fetches kgo.Fetches, out string, transform form) *batch {
	taken := &batch{}
	taken.pending.Store(int64(fetches.NumRecords()))
	fetches.EachPartition(func(part kgo.FetchTopicPartition) {
		if len(part.Records) > 0 {
			taken.last = append(taken.last, part.Records[len(part.Records)-1])
		}
		for _, record := range part.Records {
			output := &kgo.Record{Topic: out, Key: record.Key, Value: transform(record.Value)}
			client.Produce(ctx, output, func(_ *kgo.Record, err error) {
				if err != nil {
					die("an output", err)
				}
				taken.pending.Add(-1)
			})
		}
	})
	return taken
}

func run(ctx context.Context, client *kgo.Client, out string, transform form) {
	var waiting []*batch
	for ctx.Err() == nil {
		soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		fetches := client.PollRecords(soon, 5000)
		cancel()
		for _, failed := range fetches.Errors() {
			if ctx.Err() == nil && failed.Err != context.DeadlineExceeded {
				die("read", failed.Err)
			}
		}
		if fetches.NumRecords() > 0 {
			waiting = append(waiting, handle(context.Background(), client, fetches, out, transform))
		}
		for len(waiting) > 0 && waiting[0].pending.Load() == 0 {
			client.MarkCommitRecords(waiting[0].last...)
			waiting = waiting[1:]
		}
	}
}

func main() {
	if len(os.Args) != 7 || forms[os.Args[6]] == nil {
		die("usage", fmt.Errorf("worker BROKERS GROUP IN OUT LINGER_MS map|struct"))
	}
	linger, err := strconv.Atoi(os.Args[5])
	if err != nil {
		die("linger", err)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Args[1]), kgo.ConsumerGroup(os.Args[2]), kgo.ConsumeTopics(os.Args[3]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(time.Duration(linger)*time.Millisecond), kgo.MaxBufferedRecords(100000),
	)
	if err != nil {
		die("client", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	run(ctx, client, os.Args[4], forms[os.Args[6]])
	if err := client.CommitMarkedOffsets(context.Background()); err != nil {
		die("commit", err)
	}
	client.Close()
}
