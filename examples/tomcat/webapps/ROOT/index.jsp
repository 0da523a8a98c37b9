<%@ page contentType="text/plain" session="false" %>tomcat, version <%= System.getenv("VERSION") %>
