// Package replica is the form in which a part of the number index leaves the hub, and what an app does with it: pull it,
// prove that it is whole and from the hub, open it, ask it.
//
// On the wire a replica is a snapshot of an index and a footer: the manifest, a signed JWT that names the snapshot's digest, its
// length as 8 bytes little-endian, and the 8 bytes "HXREPL1\n". On disk it is three files: FILE is the snapshot, FILE.manifest
// the JWT, FILE.jwks the keys it was verified with.
//
// A replica of uploaded numbers (Uploaded) holds those and no others. MarkAbsent says that the hub has never seen a number;
// MarkNeverSeen that it was not uploaded, so that nothing is known here.
//
// It stands in the tree of index because it is nothing but an index under way: the hub makes it, commands and the guard open it.
package replica
