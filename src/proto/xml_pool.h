#ifndef PROTO_XML_POOL_H
#define PROTO_XML_POOL_H
/* Inside of the pool that xml_node.h declares: what the arenas and the readers put back. */
#include "proto/xml_node.h"

#define XML_BLOCK_BYTES	     4096 /* of one block with its head; larger ones are not kept */
#define XML_POOL_MAX_BLOCKS  64
#define XML_POOL_MAX_READERS 16

struct xml_block {
	struct xml_block *next;
	size_t n, size;
	char data[];
};

struct xml_reader;

struct xml_pool {
	struct xml_block *blocks;
	unsigned n_blocks;
	struct xml_reader *readers;
	unsigned n_readers;
	/* Character data until the next tag. All streams share it: what one of them reads at a time
	 * ends with a tag. */
	struct buf text;
};

#endif
