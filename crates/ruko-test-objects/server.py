"""A whole OpenStack Swift in one process, for tests: S3 (SigV4) and TempURL, on loopback, in a directory of its own.

    server.py DIRECTORY [PORT]

It says `listening on http://127.0.0.1:PORT` when it answers. When its stdin ends it ends as well, and removes the
directory; killed, it leaves that for another to go on with. There are the account
`test:tester` with the key `testing` (also S3's access key and secret), the bucket `openruko` for S3, and the container
`openruko` of AUTH_test with the TempURL key `tempurl-key`.
"""

import eventlet

eventlet.monkey_patch()

import logging
import os
import shutil
import socket
import sys

from eventlet import wsgi
from paste.deploy import loadapp
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.swob import Request

HOST = '127.0.0.1'
PIPELINE = 'catch_errors gatekeeper listing_formats s3api tempurl tempauth slo copy proxy-server'

PROXY = '''
[DEFAULT]
swift_dir = {dir}
bind_ip = 127.0.0.1
bind_port = {port}
log_level = ERROR
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
check_bucket_owner = false
allow_no_owner = true
location = eu-test-1
[filter:tempurl]
use = egg:swift#tempurl
methods = GET HEAD PUT DELETE
allowed_digests = sha1 sha256 sha512
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[filter:copy]
use = egg:swift#copy
'''

STORAGE = '''
[DEFAULT]
swift_dir = {dir}
devices = {dir}/devices
mount_check = false
disable_fallocate = true
bind_ip = 127.0.0.1
bind_port = {port}
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
'''


class Cache:
    """What Swift asks of memcached."""

    def __init__(self):
        self.kept = {}

    def get(self, key, raise_on_error=False):
        return self.kept.get(key)

    def set(self, key, value, **_):
        self.kept[key] = value

    def delete(self, key, **_):
        self.kept.pop(key, None)

    def incr(self, key, delta=1, time=0):
        self.kept[key] = int(self.kept.get(key) or 0) + delta
        return self.kept[key]


def with_cache(application):
    cache = Cache()

    def answer(env, start_response):
        env['swift.cache'] = cache
        return application(env, start_response)

    return answer


def listen(port=0):
    sock = eventlet.listen((HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def app(dir, name, text, **values):
    path = os.path.join(dir, name + '.conf')
    with open(path, 'w') as conf:
        conf.write(text.format(dir=dir, **values))
    return loadapp('config:' + path)


def serve(sock, application):
    eventlet.spawn(wsgi.server, sock, application, logging.getLogger('null'), log_output=False, socket_timeout=60)


def main():
    dir = os.path.abspath(sys.argv[1])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for name in ('devices/d', 'recon'):
        os.makedirs(os.path.join(dir, name), exist_ok=True)
    with open(os.path.join(dir, 'swift.conf'), 'w') as conf:
        conf.write('[swift-hash]\nswift_hash_path_suffix = openruko\n'
                   '[storage-policy:0]\nname = one\ndefault = yes\n')
    utils.SWIFT_CONF_FILE = os.path.join(dir, 'swift.conf')
    utils.validate_hash_conf()
    reload_storage_policies()

    proxy_sock = listen(port)
    for kind in ('account', 'container', 'object'):
        sock = listen()
        ring = RingBuilder(1, 1, 1)
        ring.add_dev({'region': 1, 'zone': 1, 'weight': 1, 'ip': HOST, 'port': sock.getsockname()[1],
                      'device': 'd', 'replication_ip': HOST, 'replication_port': sock.getsockname()[1]})
        ring.rebalance()
        ring.get_ring().save(os.path.join(dir, kind + '.ring.gz'))
        serve(sock, app(dir, kind, STORAGE, kind=kind, port=sock.getsockname()[1]))
    proxy = with_cache(app(dir, 'proxy', PROXY, port=proxy_sock.getsockname()[1], pipeline=PIPELINE))

    def call(method, path, **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        answer = Request.blank(path, environ={'REQUEST_METHOD': method}, headers=headers).get_response(proxy)
        if answer.status_int >= 300:
            sys.exit('server.py: %s %s: %s %r' % (method, path, answer.status, answer.body))
        return answer

    token = call('GET', '/auth/v1.0', X_Auth_User='test:tester', X_Auth_Key='testing').headers['X-Auth-Token']
    call('POST', '/v1/AUTH_test', X_Auth_Token=token, X_Account_Meta_Temp_URL_Key='tempurl-key')
    call('PUT', '/v1/AUTH_test/openruko', X_Auth_Token=token)

    serve(proxy_sock, proxy)
    print('listening on http://%s:%d' % proxy_sock.getsockname(), flush=True)
    eventlet.tpool.execute(sys.stdin.read)
    shutil.rmtree(dir, ignore_errors=True)


main()
