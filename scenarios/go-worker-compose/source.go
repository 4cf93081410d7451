package main

import (
	"fmt"
	"log"
	"time"
)

// source publishes the orders 10, 20, 30... of each customer, one of each in turn, and ends.
func source(s settings, client *Client) error {
	for n := 1; n <= s.orders; n++ {
		for _, customer := range s.customers {
			order := fmt.Sprintf("%s,%s-%d,%d", customer, customer, n, 10*n)
			if err := client.Publish(ordersQueue, []byte(order)); err != nil {
				return err
			}
			log.Printf("order %s", order)
			time.Sleep(s.pause)
		}
	}
	return client.Close()
}

// expectedTotal is what the orders of a customer add up to.
func expectedTotal(orders int) int {
	return 10 * orders * (orders + 1) / 2
}
