import os

from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from guestbook.models import Entry


@csrf_exempt
def book(request):
    if request.method == "POST":
        from guestbook.tasks import sign

        sign.delay(request.POST["name"])
    text = f"django, version {os.environ['VERSION']}, {Entry.objects.count()} entries\n"
    return HttpResponse(text, content_type="text/plain")


urlpatterns = [path("", book)]
