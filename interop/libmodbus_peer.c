/* A Modbus server of libmodbus for test_modbus_peers.py. It holds float32 values in its
 * holding registers, in all four orders, and 64 coils, every third of them set.
 *
 *   libmodbus_peer tcp PORT VALUE...      listens on 127.0.0.1
 *   libmodbus_peer rtu PATH VALUE...      19200 8E1, unit 17
 *
 * Value n stands at 8n (ABCD), 8n+2 (CDAB), 8n+4 (BADC) and 8n+6 (DCBA). The registers are put
 * together here, because what modbus_set_float_abcd puts on the wire depends on the version and the
 * machine: with 3.1.6 on a PC it is BADC. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "libmodbus_peer: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "libmodbus_peer: tcp PORT VALUE... | rtu PATH VALUE...\n");
        return 2;
    }
    int tcp = strcmp(argv[1], "tcp") == 0;
    modbus_t *peer = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'E', 8, 1);
    int values = argc - 3;
    modbus_mapping_t *map = modbus_mapping_new(64, 64, 8 * values, 8 * values);
    if (!peer || !map)
        fail("no memory");
    modbus_set_slave(peer, 17);
    for (int n = 0; n < values; n++) {
        uint16_t *at = map->tab_registers + 8 * n;
        float value = strtof(argv[3 + n], NULL);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        uint16_t ab = bits >> 16, cd = bits, ba = ab << 8 | ab >> 8, dc = cd << 8 | cd >> 8;
        const uint16_t orders[] = {ab, cd, cd, ab, ba, dc, dc, ba};
        memcpy(at, orders, sizeof orders);
    }
    for (int n = 0; n < 64; n++)
        map->tab_bits[n] = n % 3 == 0;
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
