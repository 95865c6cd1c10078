/* SPDX-License-Identifier: MIT
 *
 * Speaks nftables for a packed edgek, in a process of its own: libnftables is under the GPL, and edgek is not. Replace it, or the library beside it, by
 * your own build as you like. What it is asked, on standard input: a length (32 bits, little-endian) and as many bytes of nft commands. What it
 * answers, on standard output: 0 or 1 for failed, the lengths of what was printed and of what went wrong (three times 32 bits), and both texts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nftables/libnftables.h>

#define LARGE_BYTES (1u << 18) /* of a program: what the library took for it would stay with the allocator, so the process begins anew */

static int whole(ssize_t (*move)(int, void *, size_t), int file, void *at, size_t size) {
    for (char *next = at; size;) {
        ssize_t moved = move(file, next, size);
        if (moved <= 0)
            return 0;
        next += moved;
        size -= (size_t)moved;
    }
    return 1;
}

static ssize_t write_some(int file, void *at, size_t size) { return write(file, at, size); }

int main(int count, char **arguments) {
    (void)count;
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    uint32_t length, answer[3];
    if (!context || nft_ctx_buffer_output(context) || nft_ctx_buffer_error(context))
        return 1;
    while (whole(read, STDIN_FILENO, &length, sizeof length)) {
        char *program = calloc(1, (size_t)length + 1);
        if (!program || !whole(read, STDIN_FILENO, program, length))
            return 1;
        answer[0] = nft_run_cmd_from_buffer(context, program) != 0;
        char *printed = (char *)nft_ctx_get_output_buffer(context), *problem = (char *)nft_ctx_get_error_buffer(context);
        answer[1] = printed ? (uint32_t)strlen(printed) : 0;
        answer[2] = problem ? (uint32_t)strlen(problem) : 0;
        if (!whole(write_some, STDOUT_FILENO, answer, sizeof answer) || !whole(write_some, STDOUT_FILENO, printed, answer[1]) ||
            !whole(write_some, STDOUT_FILENO, problem, answer[2]))
            return 1;
        free(program);
        if (length > LARGE_BYTES)
            execv("/proc/self/exe", arguments);
    }
    return 0;
}
