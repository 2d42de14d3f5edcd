/* A Modbus server of libmodbus for test_modbus_peers.py. It holds numbers of all types in its holding
 * and input registers, in all four orders, and bits: every third coil and every fifth discrete
 * input is set.
 *
 *   libmodbus_peer tcp PORT TYPE=VALUE...      listens on 127.0.0.1
 *   libmodbus_peer rtu PATH TYPE=VALUE...      19200 8E1, unit 17
 *
 * Types are u16 i16 u32 i32 u64 i64 f32 f64 bcd16 bcd32 bcd64. Value n stands at 16n (ABCD), 16n+4
 * (CDAB), 16n+8 (BADC) and 16n+12 (DCBA). Floats are put together here, because what
 * modbus_set_float_abcd puts on the wire depends on the version and the machine: with 3.1.6 on a PC
 * it is BADC. Whole numbers of 32 and 64 bits are put there by libmodbus's own macros. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BITS 64

static void fail(const char *what) {
    fprintf(stderr, "libmodbus_peer: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

/* The bits of TYPE=VALUE in the low end; returns how many registers they take. */
static int parse(const char *text, uint64_t *bits) {
    const char *value = strchr(text, '=');
    if (!value++) {
        fprintf(stderr, "libmodbus_peer: %s: write TYPE=VALUE\n", text);
        exit(2);
    }
    int width = strstr(text, "64=") ? 4 : strstr(text, "32=") ? 2 : 1;
    if (text[0] == 'f' && width == 4) {
        double number = strtod(value, NULL);
        memcpy(bits, &number, sizeof number);
    } else if (text[0] == 'f') {
        float number = strtof(value, NULL);
        uint32_t half;
        memcpy(&half, &number, sizeof half);
        *bits = half;
    } else if (text[0] == 'b') {
        *bits = strtoull(value, NULL, 16);
    } else if (text[0] == 'i') {
        *bits = (uint64_t)strtoll(value, NULL, 10);
    } else {
        *bits = strtoull(value, NULL, 10);
    }
    return width;
}

static void put(uint16_t *at, uint64_t bits, int width) {
    uint16_t words[4] = {(uint16_t)bits};
    if (width == 2)
        MODBUS_SET_INT32_TO_INT16(words, 0, bits);
    if (width == 4)
        MODBUS_SET_INT64_TO_INT16(words, 0, bits);
    for (int n = 0; n < width; n++) {
        uint16_t word = words[n], mirror = words[width - 1 - n];
        at[n] = word;
        at[4 + n] = mirror;
        at[8 + n] = (uint16_t)(word << 8 | word >> 8);
        at[12 + n] = (uint16_t)(mirror << 8 | mirror >> 8);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "libmodbus_peer: tcp PORT TYPE=VALUE... | rtu PATH TYPE=VALUE...\n");
        return 2;
    }
    int tcp = strcmp(argv[1], "tcp") == 0;
    modbus_t *peer = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'E', 8, 1);
    int values = argc - 3;
    modbus_mapping_t *map = modbus_mapping_new(BITS, BITS, 16 * values, 16 * values);
    if (!peer || !map)
        fail("no memory");
    modbus_set_slave(peer, 17);
    for (int n = 0; n < values; n++) {
        uint64_t bits = 0;
        int width = parse(argv[3 + n], &bits);
        put(map->tab_registers + 16 * n, bits, width);
        put(map->tab_input_registers + 16 * n, bits, width);
    }
    for (int n = 0; n < BITS; n++) {
        map->tab_bits[n] = n % 3 == 0;
        map->tab_input_bits[n] = n % 5 == 0;
    }
    int listener = -1;
    if (tcp && (listener = modbus_tcp_listen(peer, 1)) < 0)
        fail("listen");
    if (!tcp && modbus_connect(peer) < 0)
        fail("open");
    puts("ready");
    fflush(stdout);
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH > MODBUS_TCP_MAX_ADU_LENGTH ? MODBUS_RTU_MAX_ADU_LENGTH
                                                                        : MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        if (tcp && modbus_tcp_accept(peer, &listener) < 0)
            fail("accept");
        for (;;) {
            int length = modbus_receive(peer, query);
            if (length > 0)
                modbus_reply(peer, query, length, map);
            else if (length < 0 && tcp)
                break;
        }
        modbus_close(peer);
    }
}
