package main

// A client for AMQP 0-9-1 with what this example needs, on the standard library: connect, declare, publish, consume,
// acknowledge, heartbeats. One channel; no TLS, no transactions, no exchanges but the default one, no recovery: when
// the connection breaks, Deliveries is closed and every call fails, and the program ends and is started again.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE

	frameMaxBytes      = 128 * 1024
	heartbeatS         = 10
	replyLimit         = 15 * time.Second
	theChannel         = 1
	classBasic         = 60
	queueDurable  byte = 2
)

// A method's number: its class in the upper half, as both travel next to each other.
const (
	connectionStart   = 10<<16 | 10
	connectionStartOk = 10<<16 | 11
	connectionTune    = 10<<16 | 30
	connectionTuneOk  = 10<<16 | 31
	connectionOpen    = 10<<16 | 40
	connectionOpenOk  = 10<<16 | 41
	connectionClose   = 10<<16 | 50
	channelOpen       = 20<<16 | 10
	channelOpenOk     = 20<<16 | 11
	channelClose      = 20<<16 | 40
	queueDeclare      = 50<<16 | 10
	queueDeclareOk    = 50<<16 | 11
	basicQos          = classBasic<<16 | 10
	basicQosOk        = classBasic<<16 | 11
	basicConsume      = classBasic<<16 | 20
	basicConsumeOk    = classBasic<<16 | 21
	basicPublish      = classBasic<<16 | 40
	basicDeliver      = classBasic<<16 | 60
	basicAck          = classBasic<<16 | 80
)

// Delivery is one message; Tag is what Ack wants.
type Delivery struct {
	Tag         uint64
	Redelivered bool
	Body        []byte
}

// Client is one connection with one channel. Its methods may be called from any goroutine.
type Client struct {
	Deliveries chan Delivery

	connection net.Conn
	replies    chan method
	ended      chan struct{}
	reason     error // Set before `ended` is closed.
	writing    sync.Mutex
	asking     sync.Mutex
}

type method struct {
	number    uint32
	arguments []byte
}

type frame struct {
	kind    byte
	payload []byte
}

// Dial connects to HOST:PORT and opens the default virtual host.
func Dial(address, user, password string) (*Client, error) {
	connection, err := net.DialTimeout("tcp", address, replyLimit)
	if err != nil {
		return nil, err
	}
	client := &Client{
		Deliveries: make(chan Delivery),
		connection: connection,
		replies:    make(chan method, 1),
		ended:      make(chan struct{}),
	}
	if _, err := connection.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		connection.Close()
		return nil, err
	}
	go client.read()
	if err := client.handshake(user, password); err != nil {
		connection.Close()
		return nil, err
	}
	go client.beat()
	return client, nil
}

func (c *Client) handshake(user, password string) error {
	if _, err := c.await(connectionStart); err != nil {
		return err
	}
	var login writer
	login.table()
	login.shortString("PLAIN")
	login.longString("\x00" + user + "\x00" + password)
	login.shortString("en_US")
	if _, err := c.ask(0, connectionStartOk, login.Bytes(), connectionTune); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	var limits writer
	limits.number(uint16(theChannel), uint32(frameMaxBytes), uint16(heartbeatS))
	if err := c.send(methodFrame(0, connectionTuneOk, limits.Bytes())); err != nil {
		return err
	}
	var open writer
	open.shortString("/")
	open.shortString("")
	open.number(byte(0))
	if _, err := c.ask(0, connectionOpen, open.Bytes(), connectionOpenOk); err != nil {
		return err
	}
	_, err := c.ask(theChannel, channelOpen, []byte{0}, channelOpenOk)
	return err
}

// Declare makes a durable queue, if it is not there.
func (c *Client) Declare(queue string) error {
	var arguments writer
	arguments.number(uint16(0))
	arguments.shortString(queue)
	arguments.number(queueDurable)
	arguments.table()
	_, err := c.ask(theChannel, queueDeclare, arguments.Bytes(), queueDeclareOk)
	return err
}

// Publish sends a message to a queue, through the default exchange and without waiting for the broker.
func (c *Client) Publish(queue string, body []byte) error {
	if len(body) > frameMaxBytes-8 {
		return fmt.Errorf("a message of %d bytes does not fit into one frame", len(body))
	}
	var arguments, header writer
	arguments.number(uint16(0))
	arguments.shortString("")
	arguments.shortString(queue)
	arguments.number(byte(0))
	header.number(uint16(classBasic), uint16(0), uint64(len(body)), uint16(0))
	message := methodFrame(theChannel, basicPublish, arguments.Bytes())
	message = append(message, encode(frameHeader, theChannel, header.Bytes())...)
	if len(body) > 0 {
		message = append(message, encode(frameBody, theChannel, body)...)
	}
	return c.send(message)
}

// Consume lets the messages of a queue come through Deliveries, at most `prefetch` of them not yet acknowledged.
func (c *Client) Consume(queue string, prefetch uint16) error {
	var limit, arguments writer
	limit.number(uint32(0), prefetch, byte(0))
	if _, err := c.ask(theChannel, basicQos, limit.Bytes(), basicQosOk); err != nil {
		return err
	}
	arguments.number(uint16(0))
	arguments.shortString(queue)
	arguments.shortString("")
	arguments.number(byte(0))
	arguments.table()
	_, err := c.ask(theChannel, basicConsume, arguments.Bytes(), basicConsumeOk)
	return err
}

// Ack tells the broker to forget a message.
func (c *Client) Ack(tag uint64) error {
	var arguments writer
	arguments.number(tag, byte(0))
	return c.send(methodFrame(theChannel, basicAck, arguments.Bytes()))
}

// Reason says why the connection ended.
func (c *Client) Reason() error {
	<-c.ended
	return c.reason
}

// Close ends the connection once the broker has everything that was sent before.
func (c *Client) Close() error {
	var arguments writer
	arguments.number(uint16(200))
	arguments.shortString("done")
	arguments.number(uint16(0), uint16(0))
	_, err := c.ask(0, connectionClose, arguments.Bytes(), connectionClose|1)
	c.connection.Close()
	return err
}

// --- the connection ---

func (c *Client) send(data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.connection.Write(data)
	return err
}

func (c *Client) ask(channel uint16, number uint32, arguments []byte, answer uint32) (method, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if err := c.send(methodFrame(channel, number, arguments)); err != nil {
		return method{}, err
	}
	return c.await(answer)
}

func (c *Client) await(number uint32) (method, error) {
	var reply method
	select {
	case reply = <-c.replies:
	case <-time.After(replyLimit):
		return reply, errors.New("the broker does not answer")
	case <-c.ended:
		// The last answer may have come just before the end.
		select {
		case reply = <-c.replies:
		default:
			return reply, c.reason
		}
	}
	if reply.number != number {
		return reply, fmt.Errorf("method %d.%d came instead of %d.%d",
			reply.number>>16, reply.number&0xFFFF, number>>16, number&0xFFFF)
	}
	return reply, nil
}

func (c *Client) beat() {
	ticker := time.NewTicker(heartbeatS * time.Second / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.send(encode(frameHeartbeat, 0, nil)) != nil {
				return
			}
		case <-c.ended:
			return
		}
	}
}

func (c *Client) read() {
	c.reason = c.dispatch(bufio.NewReader(c.connection))
	c.connection.Close()
	close(c.ended)
	close(c.Deliveries)
}

func (c *Client) dispatch(stream *bufio.Reader) error {
	for {
		next, err := c.next(stream)
		if err != nil {
			return err
		}
		if next.kind != frameMethod || len(next.payload) < 4 {
			return errors.New("a frame came that nothing announced")
		}
		number := binary.BigEndian.Uint32(next.payload)
		switch number {
		case basicDeliver:
			delivery, err := c.receive(stream, next.payload[4:])
			if err != nil {
				return err
			}
			c.Deliveries <- delivery
		case connectionClose, channelClose:
			return closing(next.payload[4:])
		default:
			c.replies <- method{number, next.payload[4:]}
		}
	}
}

// next returns the next frame that is no heartbeat.
func (c *Client) next(stream io.Reader) (frame, error) {
	for {
		if err := c.connection.SetReadDeadline(time.Now().Add(2 * heartbeatS * time.Second)); err != nil {
			return frame{}, err
		}
		var head [7]byte
		if _, err := io.ReadFull(stream, head[:]); err != nil {
			return frame{}, err
		}
		size := binary.BigEndian.Uint32(head[3:])
		if size > frameMaxBytes {
			return frame{}, fmt.Errorf("a frame of %d bytes", size)
		}
		payload := make([]byte, size+1)
		if _, err := io.ReadFull(stream, payload); err != nil {
			return frame{}, err
		}
		if payload[size] != frameEnd {
			return frame{}, errors.New("a frame without an end")
		}
		if head[0] != frameHeartbeat {
			return frame{head[0], payload[:size]}, nil
		}
	}
}

// receive reads the header and the body that follow a deliver method.
func (c *Client) receive(stream io.Reader, arguments []byte) (Delivery, error) {
	tagEnd := 1 + int(arguments[0])
	delivery := Delivery{
		Tag:         binary.BigEndian.Uint64(arguments[tagEnd:]),
		Redelivered: arguments[tagEnd+8]&1 == 1,
	}
	header, err := c.next(stream)
	if err != nil {
		return delivery, err
	}
	if header.kind != frameHeader || len(header.payload) < 12 {
		return delivery, errors.New("a message without a header")
	}
	size := binary.BigEndian.Uint64(header.payload[4:])
	for uint64(len(delivery.Body)) < size {
		part, err := c.next(stream)
		if err != nil {
			return delivery, err
		}
		delivery.Body = append(delivery.Body, part.payload...)
	}
	return delivery, nil
}

func closing(arguments []byte) error {
	code := binary.BigEndian.Uint16(arguments)
	text := arguments[3 : 3+int(arguments[2])]
	return fmt.Errorf("the broker closes: %d %s", code, text)
}

// --- encoding ---

type writer struct{ bytes.Buffer }

func (w *writer) number(values ...any) {
	for _, value := range values {
		// A Buffer takes everything; only a value without a fixed size could fail.
		if err := binary.Write(&w.Buffer, binary.BigEndian, value); err != nil {
			panic(err)
		}
	}
}

func (w *writer) shortString(text string) {
	w.WriteByte(byte(len(text)))
	w.WriteString(text)
}

func (w *writer) longString(text string) {
	w.number(uint32(len(text)))
	w.WriteString(text)
}

// table writes an empty table: none of the options is used.
func (w *writer) table() { w.number(uint32(0)) }

func encode(kind byte, channel uint16, payload []byte) []byte {
	var w writer
	w.number(kind, channel, uint32(len(payload)))
	w.Write(payload)
	w.WriteByte(frameEnd)
	return w.Bytes()
}

func methodFrame(channel uint16, number uint32, arguments []byte) []byte {
	var w writer
	w.number(number)
	w.Write(arguments)
	return encode(frameMethod, channel, w.Bytes())
}
