// Package index keeps, for every phone number, 16 bits and the carrier that serves it, in about 2 bytes a number, and
// answers for batches of numbers without a lock. What the 16 bits mean is its user's business.
//
// Chinese mobile numbers lie densely: a page holds a block of 10,000 numbers, and a directory of 10^6 atomic pointers
// finds it. A page's carriers are one that serves all its numbers and a list of the exceptions. Every other number lies in
// a hash table of 17 to 26 bytes a number. Pages are kept off the Go heap, in huge pages where the system has them: a
// random look-up is a TLB miss otherwise.
//
// One writer at a time (Set, Apply) works beside any number of readers, who wait for nobody. Each value is read and written
// atomically; several numbers are not. A value and its carrier: see Get.
//
// A snapshot (WriteTo, Save) is one file that a later process opens in milliseconds (Open), however long it is. Every
// byte of it is under a CRC-32C. Its pages are checked one by one, each before it first answers or changes (or all in the background:
// Verify), and what answers is the very memory that was checked. A page that fails its check answers Damaged for
// ever. There is no reader of streams: a replica that gets a snapshot over a network writes it to a file, which it needs for
// its next start anyway, and calls Open and Verify.
package index
