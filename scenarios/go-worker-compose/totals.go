package main

import (
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"
)

// totals keeps each customer's orders in a ledger, so that it can be killed and go on, and publishes a customer's total
// when the last of the orders is there.
//
// ACK=first, the default, is the mistake that this example is about: the broker is told to forget an order that is
// not written down yet. Whoever is killed in between has lost it, and the customer's total never comes. ACK=last is
// right: the broker sends an order again that was not written down, and the ledger knows those that were.
func totals(s settings, client *Client) error {
	book, err := openLedger(s.folder)
	if err != nil {
		return err
	}
	defer book.close()
	log.Printf("%d customers in the ledger", len(book.amounts))
	for _, customer := range s.customers {
		// The last life may have ended between the last order and the total.
		if err := publishWhenComplete(s, client, book, customer); err != nil {
			return err
		}
	}
	if err := client.Consume(ordersQueue, 1); err != nil {
		return err
	}
	for delivery := range client.Deliveries {
		if err := handle(s, client, book, delivery); err != nil {
			return err
		}
	}
	return client.Reason()
}

func handle(s settings, client *Client, book *ledger, delivery Delivery) error {
	customer, order, amount, err := parse(string(delivery.Body))
	if err != nil {
		log.Printf("ignored: %v", err)
		return client.Ack(delivery.Tag)
	}
	log.Printf("order %s of %s: %d", order, customer, amount)
	if s.ackFirst {
		if err := client.Ack(delivery.Tag); err != nil {
			return err
		}
	}
	time.Sleep(s.pause)
	isNew, err := book.enter(customer, order, amount)
	if err != nil {
		return err
	}
	if isNew {
		if err := publishWhenComplete(s, client, book, customer); err != nil {
			return err
		}
	}
	if s.ackFirst {
		return nil
	}
	return client.Ack(delivery.Tag)
}

func publishWhenComplete(s settings, client *Client, book *ledger, customer string) error {
	amounts := book.amounts[customer]
	if len(amounts) < s.orders {
		return nil
	}
	total := 0
	for _, amount := range amounts {
		total += amount
	}
	log.Printf("%s is complete: %d", customer, total)
	return client.Publish(totalsQueue, []byte(fmt.Sprintf("%s,%d", customer, total)))
}

func parse(text string) (customer, order string, amount int, err error) {
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return "", "", 0, fmt.Errorf("%q is no order", text)
	}
	amount, err = strconv.Atoi(parts[2])
	return parts[0], parts[1], amount, err
}
