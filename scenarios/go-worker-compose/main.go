// Orders: source -> totals -> audit, as one static program with three roles.
//
//	orders source    publishes the orders of each customer
//	orders totals    adds up a customer's orders and publishes the total when all of them have come
//	orders audit     compares the totals with what they have to be, and prints the verdicts
//
// An ordinary pipeline of somebody who has never heard of chaoskit.
package main

import (
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	ordersQueue  = "orders"
	totalsQueue  = "totals"
	connectLimit = 60 * time.Second
)

// settings come from the environment, like everything in a container.
type settings struct {
	broker, user, password string
	customers              []string
	orders                 int
	pause                  time.Duration
	folder                 string
	ackFirst               bool
}

func fromEnvironment() settings {
	return settings{
		broker:    text("BROKER", "rabbitmq:5672"),
		user:      text("BROKER_USER", "guest"),
		password:  text("BROKER_PASSWORD", "guest"),
		customers: strings.Split(text("CUSTOMERS", "ada,grace"), ","),
		orders:    number("ORDERS", 3),
		pause:     time.Duration(number("PAUSE_MS", 50)) * time.Millisecond,
		folder:    text("DATA_DIR", "/data"),
		ackFirst:  text("ACK", "first") == "first",
	}
}

func text(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise int) int {
	value, err := strconv.Atoi(text(name, strconv.Itoa(otherwise)))
	if err != nil || value < 0 {
		log.Fatalf("%s has to be a whole number, 0 or more", name)
	}
	return value
}

func main() {
	roles := map[string]func(settings, *Client) error{"source": source, "totals": totals, "audit": audit}
	if len(os.Args) != 2 || roles[os.Args[1]] == nil {
		log.Fatal("usage: orders source|totals|audit")
	}
	role := os.Args[1]
	log.SetPrefix(role + ": ")
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	s := fromEnvironment()
	client := connect(s)
	for _, queue := range []string{ordersQueue, totalsQueue} {
		if err := client.Declare(queue); err != nil {
			log.Fatal(err)
		}
	}
	if err := roles[role](s, client); err != nil {
		log.Fatal(err)
	}
}

// connect tries again while the broker is not there yet.
func connect(s settings) *Client {
	for end := time.Now().Add(connectLimit); ; time.Sleep(200 * time.Millisecond) {
		client, err := Dial(s.broker, s.user, s.password)
		if err == nil {
			return client
		}
		if time.Now().After(end) {
			log.Fatalf("no broker at %s: %v", s.broker, err)
		}
	}
}
