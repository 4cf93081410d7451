package main

import (
	"fmt"
	"log"
	"strings"
)

// audit prints a verdict for each total, plain and through the logger, and goes on: a total may come again.
func audit(s settings, client *Client) error {
	log.Printf("waiting for the totals of %s", strings.Join(s.customers, ", "))
	if err := client.Consume(totalsQueue, 1); err != nil {
		return err
	}
	for delivery := range client.Deliveries {
		customer, total, _ := strings.Cut(string(delivery.Body), ",")
		expected := fmt.Sprint(expectedTotal(s.orders))
		verdict := fmt.Sprintf("SUCCESS [%s] the total is %s", customer, total)
		if total != expected {
			verdict = fmt.Sprintf("FAILURE [%s] the total is %s and should be %s", customer, total, expected)
		}
		fmt.Println(verdict)
		log.Print(verdict)
		if err := client.Ack(delivery.Tag); err != nil {
			return err
		}
	}
	return client.Reason()
}
